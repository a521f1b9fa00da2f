# SPDX-License-Identifier: Apache-2.0
environment "production"
workers Integer(ENV.fetch("SHOP_WORKERS", "3"))
threads 1, 1
bind "unix://#{ENV.fetch("SHOP_SOCKET")}"
rackup File.join(__dir__, "config.ru")
tag "shop"
preload_app! ENV["SHOP_PRELOAD"] == "1"
