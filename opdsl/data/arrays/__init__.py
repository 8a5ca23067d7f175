"""The arrays of a file by name, whatever its format; the program says what they mean."""
