"""What training and serving share: a basket's schema, its features, the product encoding and the model bundle."""
