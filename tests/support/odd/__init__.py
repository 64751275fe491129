"""Odd inputs, made by code: what people bring, and what becomes of it. `page` holds the tables of docs/odd-inputs.md."""
