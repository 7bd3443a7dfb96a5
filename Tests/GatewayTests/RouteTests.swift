import EtcdSchema
import TestSupport
import Testing
