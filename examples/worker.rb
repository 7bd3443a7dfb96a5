# Works while it leads, and stands by while another does: URL USER PASSWORD NAME.
#
# Of any number that are started one leads. Its lease is kept alive beside the work; if it dies, another client leads when the lease
# has ended. Each write is made only while the leader's key is still there, so that one who has lost it without having
# noticed changes nothing.
require "json"
require "net/http"

url, user, password, name = ARGV
ADDRESS = URI(url)
TTL = 5

define_method(:ask) do |method, path, body = nil|
  Net::HTTP.start(ADDRESS.host, ADDRESS.port, read_timeout: 3600) do |http|
    request = Net::HTTPGenericRequest.new(method, !body.nil?, true, path)
    request.basic_auth(user, password)
    request.body = JSON.generate(body) if body
    answer = http.request(request)
    raise "#{answer.code}: #{JSON.parse(answer.body)["message"]}" unless answer.is_a?(Net::HTTPSuccess)
    JSON.parse(answer.body)
  end
end

puts "#{name} stands by"
$stdout.flush
leadership = ask("POST", "/elections/worker", { value: name, ttl: "#{TTL}s", wait: "10m" })
lease = leadership["lease"]
puts "#{name} leads"
$stdout.flush

Thread.new do
  loop do
    sleep(TTL / 3.0)
    ask("POST", "/elections/worker/keepalive", { lease: lease })
  end
end.abort_on_exception = true

3.times do |job|
  condition = { key: leadership["key"], create_revision: leadership["revision"] }
  write = { put: { key: "jobs/#{job}", value: name } }
  raise "#{name} does not lead any more" unless ask("POST", "/txn", { if: [condition], then: [write] })["succeeded"]
  puts "#{name} did #{job}"
end
ask("DELETE", "/elections/worker?lease=#{lease}")
puts "#{name} has resigned"
