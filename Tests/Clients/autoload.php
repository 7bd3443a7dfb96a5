<?php
// What Composer would write: finds the client's classes where CLIENT says, and Debian's Guzzle.
require "GuzzleHttp/autoload.php";

spl_autoload_register(function (string $name): void {
    $prefix = "OpenAPI\\Client\\";
    if (str_starts_with($name, $prefix)) {
        require getenv("CLIENT") . "/lib/" . str_replace("\\", "/", substr($name, strlen($prefix))) . ".php";
    }
});
