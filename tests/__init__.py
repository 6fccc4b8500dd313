"""The tests of qkdlink; ``docs/reference/testing.md`` says what lies where."""
