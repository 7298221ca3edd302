"""Training as a generator of events; see `crl_core.training.loop.train`."""
