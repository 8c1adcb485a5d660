"""The gradebook as the files that course systems read: a module for each product, and a table of our own.

How their hand-ins are recognised is :mod:`graders.harness.course.layouts`.
"""
