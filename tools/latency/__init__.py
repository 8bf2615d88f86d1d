"""`hft latency` and `hft trace`: how long each hop took, from the histograms in the role pages."""
