"""The window of CRL Explorer; nothing scientific lives here.

Importing this package imports neither Qt nor torch.
"""
