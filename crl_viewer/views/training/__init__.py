"""The training dialog: set up a run, watch it, and compare what came of several."""
