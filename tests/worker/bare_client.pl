#!/usr/bin/perl
# A client of docs/worker-protocol.md that shares no line with plugins/client: Perl's core alone.
use strict;
use warnings;
use IO::Select;
use IPC::Open3;
use JSON::PP;
use POSIX ":sys_wait_h";
use Symbol "gensym";

my ($job_file, $hang_s) = @ARGV;
open(my $file, "<", $job_file) or die "no job: $!";
my $job = decode_json(do { local $/; <$file> });
my %answer = (outcome => "died", exit_code => undef, frames => [], message => "");

# What steers a host's own Python, Qt or plug-ins is not for the engine.
delete $ENV{$_} for grep { /^(PYTHON|__PYVENV|QT|QML|PYSIDE|NUKE|OFX_|BLENDER)/i } keys %ENV;
$ENV{PYTHONNOUSERSITE} = 1;
$SIG{PIPE} = "IGNORE";

my $errors = gensym;
my $pid = open3(my $in, my $out, $errors, $ENV{VFXSWAP_ENGINE}, "worker");
$in->autoflush(1);
my $pipes = IO::Select->new($out, $errors);
my ($held, $greeted, $over) = ("", 0, 0);

sub ask { print {$in} encode_json({@_}), "\n"; }

sub hear {
    my ($event) = @_;
    my $kind = $event->{event};
    if (!$greeted) {
        $greeted = 1;
        if ($kind ne "hello" || $event->{protocol} != 1) {
            %answer = (%answer, outcome => "incompatible", message => "another protocol");
            return $over = 1;
        }
        return ask(id => 1, request => "render", job => $job);
    }
    return unless defined $event->{id} && $event->{id} eq "1";
    if ($kind eq "frame_done") {
        push @{ $answer{frames} }, $event->{frame};
        ask(id => 2, request => "cancel", target => 1)
            if $ENV{VFXSWAP_CANCEL} && @{ $answer{frames} } == 1;
    }
    $answer{message} .= $event->{message} if $kind eq "error";
    if ($kind eq "done") {
        %answer = (%answer, outcome => "done", exit_code => $event->{exit_code});
        $over = 1;
    }
}

while (!$over) {
    my @ready = $pipes->can_read($hang_s + ($greeted ? 0 : 30));
    if (!@ready) { $answer{message} = "the engine hangs"; last; }
    for my $pipe (@ready) {
        my $read = sysread($pipe, my $data, 65536);
        if (!$read) {
            $pipes->remove($pipe);
            if ($pipe == $out) { $answer{message} ||= "the engine died"; $over = 1; }
            next;
        }
        next if $pipe == $errors;    # a log for people
        $held .= $data;
        while ($held =~ s/^([^\n]*)\n//) { hear(decode_json($1)); }
    }
}
close $in;
for (1 .. 50) { last if waitpid($pid, WNOHANG) != 0; select(undef, undef, undef, 0.1) if $answer{outcome} ne "died"; last if $answer{outcome} eq "died"; }
kill "KILL", $pid;
waitpid($pid, 0);
print encode_json(\%answer), "\n";
