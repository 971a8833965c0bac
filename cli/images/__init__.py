"""Code images and Docker images: how they are built, published and verified."""
