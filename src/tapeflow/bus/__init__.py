"""The bus: Kafka between collectors, engines, sinks and gateways."""
