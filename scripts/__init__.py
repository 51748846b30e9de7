"""What a maintainer of the project runs; `python -m scripts.NAME` from the repository."""
