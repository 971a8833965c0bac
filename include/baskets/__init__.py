"""What training and serving share: the schema of a basket, its features, the product table and the model bundle."""
