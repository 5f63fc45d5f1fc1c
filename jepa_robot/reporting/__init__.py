"""Picture strips and recordings of what a robot did."""
