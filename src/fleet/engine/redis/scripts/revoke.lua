-- Argument: lease.
end_lease(ARGV[4])
return answer('DONE')
