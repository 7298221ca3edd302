"""The paper's protocol on any prepared dataset: networks and analytic baselines in one table.

People are shared out into folds, every method is fitted on the training people of a fold and
measured once on its test people, and the tables and figures of the paper are drawn for the data at
hand. Nothing here loads torch until a network is measured.
"""
