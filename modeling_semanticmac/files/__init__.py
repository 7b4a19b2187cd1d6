"""Complete files, tables and pictures on disk. Imports nothing of the package."""
