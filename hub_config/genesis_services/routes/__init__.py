"""The API's routes, one file for each room of the library."""
