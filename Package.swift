// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [.enableUpcomingFeature("InternalImportsByDefault")]

// For tests that check a process from outside, and what they share: AddressSanitizer would instrument no code of the
// gateway in them, and lengthen their compilation by half.
let unsanitized: [SwiftSetting] = [
  .unsafeFlags(
    ["reads", "writes", "atomics"].flatMap { ["-Xllvm", "-asan-instrument-\($0)=0"] }
      + ["-Xllvm", "-asan-stack=0", "-Xllvm", "-asan-globals=0"])
]

let package = Package(
  name: "etcd-rest",
  products: [
    .library(name: "EtcdClient", targets: ["EtcdClient"]),
    .executable(name: "etcd-rest", targets: ["EtcdRest"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: []),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    // The C libraries, each as its headers and nothing else.
    .systemLibrary(name: "CMicrohttpd", pkgConfig: "libmicrohttpd", providers: [.apt(["libmicrohttpd-dev"])]),
    .systemLibrary(name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CLibuv", pkgConfig: "libuv", providers: [.apt(["libuv1-dev"])]),
    .systemLibrary(name: "CYaml", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    // It comes without a pkg-config file.
    .systemLibrary(name: "CWslay", providers: [.apt(["libwslay-dev"])]),
    // What the linker knows of the program itself.
    .systemLibrary(name: "CProgram"),

    .target(
      name: "EtcdSchema",
      dependencies: [.product(name: "SwiftProtobuf", package: "swift-protobuf")],
      exclude: ["Protos", "Generated/digest"],
      swiftSettings: settings),
    .target(name: "ByteBuffers", swiftSettings: settings),
    .target(name: "ProtobufWire", dependencies: ["ByteBuffers"], swiftSettings: settings),
    .target(
      name: "Transcoding",
      dependencies: ["ByteBuffers", "ProtobufWire", .product(name: "SwiftProtobuf", package: "swift-protobuf")],
      swiftSettings: settings),
    .target(name: "EventLoop", dependencies: ["CLibuv"], swiftSettings: settings),
    .target(name: "TLS", dependencies: ["COpenSSL"], swiftSettings: settings),
    .target(
      name: "GrpcBridge",
      dependencies: [
        "ByteBuffers", "CNghttp2", "COpenSSL", "EtcdSchema", "EventLoop", "ProtobufWire", "TLS",
        .product(name: "DequeModule", package: "swift-collections"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      exclude: ["Errors/etcd-errors.tsv"],
      swiftSettings: settings),
    .target(
      name: "EtcdClient",
      dependencies: [
        "EtcdSchema", "EventLoop", "GrpcBridge",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      swiftSettings: settings),
    .target(
      name: "HTTPServer",
      dependencies: [
        "ByteBuffers", "CMicrohttpd", "COpenSSL", "CWslay", "CZlib", "EventLoop", "TLS",
        .product(name: "DequeModule", package: "swift-collections"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings),
    .target(
      name: "Gateway",
      dependencies: [
        "ByteBuffers", "CProgram", "CYaml", "EtcdClient", "EtcdSchema", "EventLoop", "GrpcBridge", "HTTPServer",
        "ProtobufWire", "TLS", "Transcoding",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Configuration", package: "swift-configuration"),
        .product(name: "DequeModule", package: "swift-collections"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      exclude: ["Pages/docs"],
      swiftSettings: settings),
    // The program: only the call of what is in Gateway, which tests and benchmarks use, too.
    .executableTarget(name: "EtcdRest", dependencies: ["Gateway"], swiftSettings: settings),
    // A request in the process, and parts of it: for scripts/check-costs, and no product.
    .executableTarget(
      name: "RequestBenchmark",
      dependencies: [
        "ByteBuffers", "EtcdSchema", "EventLoop", "Gateway", "GrpcBridge", "HTTPServer",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      path: "Benchmarks/Request",
      swiftSettings: settings),
    // Transcoding by itself: for Benchmarks/run and scripts/check-costs, and no product.
    .executableTarget(
      name: "TranscodingBenchmark",
      dependencies: [
        "ByteBuffers", "EtcdSchema", "Transcoding", .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      path: "Benchmarks/Transcoding",
      swiftSettings: settings),
    // What integration tests share: etcd and gateway processes, raw HTTP and WebSocket clients, a scripted gRPC server.
    .systemLibrary(name: "CNamespaces", path: "Tests/CNamespaces"),
    .target(
      name: "TestSupport", dependencies: ["CNamespaces", "CNghttp2", "COpenSSL", "EventLoop", "TLS"],
      path: "Tests/TestSupport", swiftSettings: settings + unsanitized),
    .testTarget(name: "EventLoopTests", dependencies: ["EventLoop"], swiftSettings: settings),
    .testTarget(name: "TLSTests", dependencies: ["TLS", "TestSupport"], swiftSettings: settings),
    .testTarget(
      name: "GrpcBridgeTests",
      dependencies: [
        "ByteBuffers", "EtcdSchema", "EventLoop", "GrpcBridge", "ProtobufWire", "TestSupport",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      swiftSettings: settings),
    .testTarget(
      name: "EtcdClientTests",
      dependencies: [
        "EtcdClient", "EtcdSchema", "EventLoop", "GrpcBridge", "TestSupport",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      swiftSettings: settings),
    .testTarget(name: "TestSupportTests", dependencies: ["TestSupport"], swiftSettings: settings),
    .testTarget(
      name: "EtcdSchemaTests",
      dependencies: ["EtcdSchema", .product(name: "SwiftProtobuf", package: "swift-protobuf")],
      resources: [.copy("etcd-api.tsv")],
      swiftSettings: settings),
    .testTarget(
      name: "ProtobufWireTests",
      dependencies: [
        "ByteBuffers", "EtcdSchema", "ProtobufWire", "TestSupport",
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      swiftSettings: settings),
    .testTarget(
      name: "TranscodingTests",
      dependencies: [
        "ByteBuffers", "EtcdSchema", "ProtobufWire", "TestSupport", "Transcoding",
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      swiftSettings: settings),
    .testTarget(
      name: "HTTPServerTests",
      dependencies: [
        "ByteBuffers", "EventLoop", "HTTPServer", "TestSupport", "TLS", .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings),
    .testTarget(
      name: "RouterTests",
      dependencies: [
        "EtcdSchema", "EventLoop", "Gateway", "GrpcBridge", "HTTPServer", "TestSupport",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      swiftSettings: settings),
    .testTarget(
      name: "GatewayTests",
      dependencies: [
        "ByteBuffers", "EtcdSchema", "EventLoop", "Gateway", "GrpcBridge", "HTTPServer", "ProtobufWire", "TestSupport",
        "TLS", "Transcoding",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      swiftSettings: settings + unsanitized),
  ],
  swiftLanguageModes: [.v6]
)
