"""The same endpoint, its scaling left to Tidegate: a tag, and no scaling policies."""

import aws_cdk as cdk

from endpoint import endpoint_of

app = cdk.App()
stack = cdk.Stack(app, "Ranker")
endpoint = endpoint_of(stack, "ranker", instance_type="ml.c5.2xlarge")
cdk.Tags.of(endpoint).add("tidegate:profile", "ranking")
app.synth()
