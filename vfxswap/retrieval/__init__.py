"""Finding pictures by one feature of the faces on them."""
