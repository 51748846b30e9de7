"""What a person looks at: overlays, plots, the HTML report."""
