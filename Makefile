# What `plakar pkg build` calls before it packs manifest.yaml.
.PHONY: build
build:
	cargo build --release
