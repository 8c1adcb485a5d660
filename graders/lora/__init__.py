"""What knows a LoRA."""
