"""Tables of results: our rows by themselves, or with the literature's in the layouts of the paper's tables."""
