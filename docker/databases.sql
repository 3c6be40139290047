-- The views have the database that PostgreSQL makes by itself; these two are for the others that keep data here.
CREATE DATABASE schemas;
CREATE DATABASE mlflow;
