"""Networks that translate images between modalities, and those that judge the result."""
