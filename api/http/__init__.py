"""The HTTP side of the service. A prediction passes protocol → gateway → scoring; every other request also routes."""
