"""What measurements look like on a student's page."""
