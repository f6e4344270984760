"""What the jobs that give each client a chance have in common: their nights, rows and reasons."""
