"""What is kept: the database and its migrations, pictures as files."""
