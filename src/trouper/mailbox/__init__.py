"""Mailboxes: how many messages wait for an actor, and what happens to those that do not fit."""
