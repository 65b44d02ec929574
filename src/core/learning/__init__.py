"""What is learned of a target, once a day."""
