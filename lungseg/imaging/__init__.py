"""Reading and writing pictures, masks and CT volumes."""
