"""A report: one page of everything that is known of some runs, to be opened in any browser and sent by mail."""
