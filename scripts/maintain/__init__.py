"""Pages and pictures of the documentation written anew, and fuzzing."""
