"""What knows no lesson."""
