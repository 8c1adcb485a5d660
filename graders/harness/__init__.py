"""What grades any lesson."""
