"""What is done to a scan before the network sees it."""
