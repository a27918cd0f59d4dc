"""Networks of methods that make images: generators, discriminators, and those that are tested."""
