"""The plant: the project's simulator behind HTTP, so that boto3 and the AWS CLI cannot tell it from AWS."""
