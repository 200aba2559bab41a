"""The record: stacks, resources, runs, operations and blobs, durable across kill -9."""
