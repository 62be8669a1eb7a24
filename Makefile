# The version of the packages: that of Cargo.toml. It is above 1.1.0, the last
# version of the Go plugin "rclone", so that `plakar pkg add -u` replaces that.
VERSION := v$(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

# What `plakar pkg build` calls before it packs manifest.yaml.
.PHONY: build
build:
	cargo build --release

.PHONY: package
package: build
	plakar pkg create ./manifest.yaml $(VERSION)

.PHONY: rclone-package
rclone-package:
	cargo build --release --features all-backends --target-dir target/all-backends
	cp target/all-backends/release/plakar-icloud packaging/rclone/
	plakar pkg create ./packaging/rclone/manifest.yaml $(VERSION)
