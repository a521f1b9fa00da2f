# SPDX-License-Identifier: Apache-2.0
environment "production"
workers Integer(ENV.fetch("SHOP_WORKERS", "3"))
threads 2, 2
preload_app!
plugin :lapidary
bind "unix://#{ENV.fetch("SHOP_SOCKET")}"
rackup File.join(__dir__, "story.ru")
tag "shop"
# A boot as long as a test wants it: until this file is there.
on_worker_boot { sleep 0.01 until File.exist?(ENV["SHOP_GATE"]) } if ENV["SHOP_GATE"]
