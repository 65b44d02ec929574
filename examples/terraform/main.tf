# An endpoint whose scaling is left to Tidegate: a tag, and no aws_appautoscaling_* resources.

terraform {
  required_version = ">= 1.7"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "image" {
  type = string
}

variable "model_data" {
  type = string
}

variable "role_arn" {
  type = string
}

resource "aws_sagemaker_model" "ranker" {
  execution_role_arn = var.role_arn

  primary_container {
    image          = var.image
    model_data_url = var.model_data
  }
}

resource "aws_sagemaker_endpoint_configuration" "ranker" {
  name_prefix = "ranker-"

  production_variants {
    variant_name           = "AllTraffic"
    model_name             = aws_sagemaker_model.ranker.name
    instance_type          = "ml.c5.2xlarge"
    initial_instance_count = 2
    initial_variant_weight = 1
  }

  lifecycle {
    create_before_destroy = true # an endpoint must never stand without its configuration

    # The number an endpoint starts with. A change of it alone would make a new configuration, and so a deployment that
    # sets the running count back to it.
    ignore_changes = [production_variants[0].initial_instance_count]
  }
}

resource "aws_sagemaker_endpoint" "ranker" {
  name                 = "ranker"
  endpoint_config_name = aws_sagemaker_endpoint_configuration.ranker.name

  tags = {
    "tidegate:profile" = "ranking"
  }
}
