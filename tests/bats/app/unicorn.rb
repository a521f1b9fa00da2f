# SPDX-License-Identifier: Apache-2.0
worker_processes 3
preload_app true
listen ENV.fetch("SHOP_SOCKET")
timeout 60
