"""The recipes that come with the workbench: a folder for each, found by entry point like everybody's."""
