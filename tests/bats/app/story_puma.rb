# SPDX-License-Identifier: Apache-2.0
environment "production"
workers 3
threads 2, 2
preload_app!
plugin :lapidary
bind "unix://#{ENV.fetch("SHOP_SOCKET")}"
rackup File.join(__dir__, "story.ru")
tag "shop"
